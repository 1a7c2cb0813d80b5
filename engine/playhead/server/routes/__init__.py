"""One file for each noun of the API. Routes are thin: they read a request, ask the `ServerApi`, and write its answer."""
