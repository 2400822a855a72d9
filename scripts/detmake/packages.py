"""Packages of others that results depend on."""

#: Packages whose version can change what a step computes, by the names that imports have.
COMPUTING = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmengine": "onedl-mmengine",
    "nncf": "nncf",
    "numpy": "numpy",
    "openvino": "openvino",
    "pycocotools": "pycocotools",
    "sklearn": "scikit-learn",
    "torch": "torch",
}
