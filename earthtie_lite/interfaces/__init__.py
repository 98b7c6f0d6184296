"""Embeddings where they are used: tables, files, rasters, scikit-learn, the command line."""
