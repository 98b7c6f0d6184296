"""A model of nothing, for tests of what is done with embeddings."""

import numpy as np


class Waves:
    """Embeds a place as waves of its coordinates, and notes how many it was asked for at a time."""

    def __init__(self, width=4, turns=1.0):
        self.width, self.turns = width, turns
        self.calls = []

    def embed(self, lonlat):
        self.calls.append(len(lonlat))
        lon, lat = np.radians(np.asarray(lonlat, dtype=np.float64)).T * self.turns
        waves = [np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)]
        columns = [waves[i % 4] * (1 + i // 4) for i in range(self.width)]
        return np.stack(columns, axis=1).astype(np.float32)
