"""The journal: a runner's write-ahead buffer in the user's storage, its fence, its format, its reading. User side only."""
