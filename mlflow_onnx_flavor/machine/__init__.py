"""The machine: hardware, execution providers, disks, processes."""
