"""A comparison as one folder of pages that opens from disk: words, figures, sortable tables and every sample."""
