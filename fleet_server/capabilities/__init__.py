"""What patients can do at each kiosk now, and what is left of paper, toner and the like, as the kiosks say."""
