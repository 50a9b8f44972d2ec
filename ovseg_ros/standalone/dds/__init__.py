"""ROS 2's use of DDS, as rmw_cyclonedds_cpp does it, over the PyPI package `cyclonedds`.

`domain` opens a participant as the environment asks; `qos_policies` translates profiles; `endpoints` writes and reads
ready CDR; `reactor` is the one thread that waits for DDS; `graph` knows every node and endpoint of the domain.
"""
