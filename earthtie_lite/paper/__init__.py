"""The paper's data and encoders: found, fetched, read where they lie, encoded to disk."""
