"""What the server itself has to tell: asked by one thread, read by observable instruments."""
