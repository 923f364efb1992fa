"""Every platform's switch configurations before every judge of it, over a matrix of all options."""
