"""What cameras see: light, materials, and meshes that are shown in place of the primitives.

Nothing here touches, weighs or moves anything: physics is the same whatever the looks.
"""
