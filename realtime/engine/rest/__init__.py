"""What the settings of Django REST framework name: parser, exception handler, schema."""
