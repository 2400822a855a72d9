"""Post-training quantization: from a floating-point IR to an int8 one."""


rule quantize_pot:
    input:
        unpack(training_subset),
        **model_folder("{run}/openvino", "xml", "bin", "config"),
        val="{run}/dataset/val.json",
    output:
        **model_folder("{run}/pot"),
    log:
        "{run}/logs/pot.log",
    benchmark:
        "{run}/benchmarks/pot.tsv"
    conda:
        "../envs/inference.yaml"
    threads: 16
    resources:
        mem_mb=8000,
        runtime=120,
        slurm_partition=partition(),
    params:
        **settings("pot_parameters", "inference"),
        **code_of("quantize_pot", "inference"),
    message:
        "Post-training quantization of {wildcards.run}"
    script:
        "../scripts/quantize_pot.py"
