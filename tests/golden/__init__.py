"""Logs of each release, as it wrote them. They are never edited: what version N reads, every later version reads (S14)."""
