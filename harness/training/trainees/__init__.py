"""The networks that recipes can name, one module each."""
