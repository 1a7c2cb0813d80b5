"""The canary: marked words are planted wherever code and data can be, and searched wherever a server could have learned them (S9)."""
