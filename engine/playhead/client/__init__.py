"""The user's side of a server: `HttpServer` speaks to one elsewhere, and `Client` is what users hold."""
