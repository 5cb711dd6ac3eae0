"""Fields on a latitude-longitude grid: files, anomalies, regions, samples."""
