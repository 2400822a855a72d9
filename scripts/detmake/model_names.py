"""The models of a run: how every table calls them, and where they are in its folder."""

#: The model of quantization-aware training. It takes long to make: tables show it if it is there.
OPTIONAL = "int8 (NNCF)"
#: For each model, the folder of its figures, and its file or folder; both in the run's folder.
MODELS = {
    "snapshot": ("", "weights.pth"),
    "IR": ("openvino", "openvino"),
    "int8 (POT)": ("pot", "pot"),
    OPTIONAL: ("nncf", "nncf"),
}
