-- Lmod: copy to MODULEPATH/reel/VERSION.lua, and set root to the --prefix of that version.
local version = myModuleVersion()
local root = "/opt/reel/" .. version

help([[Training and distillation of video diffusion transformers with MPI: reel --help, man reel.]])
whatis("Name: reel")
whatis("Version: " .. version)
whatis("Description: training and distillation of Wan-style video diffusion transformers, an MPI batch program")

conflict("reel")
-- depends_on("mpich/4.1", "hdf5/1.14")   -- what it was built with

setenv("REEL", pathJoin(root, "bin/reel")) -- the job scripts take it from here
prepend_path("PATH", pathJoin(root, "bin"))
prepend_path("MANPATH", pathJoin(root, "share/man"))
prepend_path("PKG_CONFIG_PATH", pathJoin(root, "lib/pkgconfig"))
prepend_path("XDG_DATA_DIRS", pathJoin(root, "share")) -- completion for bash
