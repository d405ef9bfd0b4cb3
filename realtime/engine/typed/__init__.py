"""Messages that are structs: their tags, their form as JSON and msgpack, and what is wrong with one that is not."""
