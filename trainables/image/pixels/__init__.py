"""From files to pixels: decoding, and the node's cache of what was decoded."""
