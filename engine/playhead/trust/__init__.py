"""Trust: keys, and everything that is signed or pickled. The user's side only.

The server must never import anything from here: this package imports pickle and holds keys, and a server that has neither
cannot run or forge anything, whoever took it over. What the server needs to compute, such as the ids of scheduled runs, is in
`playhead.core` and made of public facts. Nothing here loads a byte before its signature has been verified.
"""
