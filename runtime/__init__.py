"""What flies: frames, tiles, engines, meters, slot loop, product store and downlink, and the command."""
