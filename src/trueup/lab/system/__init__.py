"""The parts of the simulated system: the processes, the network, the disks and the clocks."""
