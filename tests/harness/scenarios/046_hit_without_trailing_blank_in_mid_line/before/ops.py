a = bc
