"""The random model: whole peers and a tracker's directory on simulated disks, thousands of schedules at full speed.

Versions, replica, planner, announcer and directory are the very code; what carries out actions on a disk is a short
imitation of `peer.executor` and `peer.recovery` on a dictionary. One seed is one schedule.
"""
