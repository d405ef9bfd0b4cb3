"""What the endpoints say about themselves: AsyncAPI, schemas, examples."""
