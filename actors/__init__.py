"""What happens: the actors that walk runs, and the threads, time and handlers around them."""
