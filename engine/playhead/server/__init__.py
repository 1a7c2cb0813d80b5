"""The server's HTTP: an ASGI app over a `ServerApi`, and uvicorn to serve it. Imported only where something is served."""
