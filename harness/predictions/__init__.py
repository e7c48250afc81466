"""Files of answers, ours and other people's: recognised by content, read into one record."""
