"""Facts about the machine: device, precision, environment, memory and units."""
