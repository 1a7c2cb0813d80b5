"""Adapters: each file speaks to one outside thing and implements one port of `playhead.ports`. The engine imports none of them; they
register under entry points, as other people's do.
"""
