"""What the commands do: asking a server and the user's own side. Owns no option parsing and no layout."""
