"""mPLUG (2022): captions, answers and image-text retrieval from the released checkpoints; the library has no class."""
