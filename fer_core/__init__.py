"""The domain of ferflow: from picture bytes to trustworthy expression labels. Imports neither prefect nor dask."""
