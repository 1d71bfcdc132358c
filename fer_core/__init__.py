"""The domain of ferflow: from picture bytes to trustworthy expression labels. Imports neither prefect nor dask."""

from fer_core.isolation import silence_libraries

silence_libraries()  # here, since whatever loads ONNX Runtime or OpenCV is below this package
