"""What happens between a frame and its products: stages that overlap, admission, merging, files."""
