"""Where does a model look, and are its maps worth anything?"""
