"""How things look: views, events and values to text and tables. Pure; asks nobody and writes nowhere."""
