"""Post-training quantization: from a floating-point IR to an int8 one."""


rule quantize_pot:
    input:
        xml="{run}/openvino/openvino.xml",
        bin="{run}/openvino/openvino.bin",
        config="{run}/openvino/config.json",
        train="{run}/dataset/train.json",
        val="{run}/dataset/val.json",
    output:
        xml="{run}/pot/openvino.xml",
        bin="{run}/pot/openvino.bin",
        config="{run}/pot/config.json",
        label_schema="{run}/pot/label_schema.json",
        confidence_threshold="{run}/pot/confidence_threshold",
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
        **settings("pot_parameters"),
        **code_of("quantize_pot"),
    message:
        "Quantizing {wildcards.run} after training (POT)"
    script:
        "../scripts/quantize_pot.py"
