"""Bad input, item by item: what a user does wrong or meets, the exit code, and the words that say what is wrong and what to do."""
