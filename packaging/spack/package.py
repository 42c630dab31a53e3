# A Spack recipe: put it into a repository as packages/reel/package.py (spack repo create; README.md beside).
from spack.package import *

try:  # since Spack 1.0 they are no part of spack.package
    from spack_repo.builtin.build_systems.autotools import AutotoolsPackage
    from spack_repo.builtin.build_systems.cuda import CudaPackage
except ImportError:
    pass


class Reel(AutotoolsPackage, CudaPackage):
    """Training and distillation of Wan-style video diffusion transformers as an MPI batch program in C."""

    # The release is the archive that `make dist` writes; a clone is built with `spack dev-build reel@develop`.
    version("develop")
    version("0.1.0")
    manual_download = True

    variant("devel", default=False, description="More compiler warnings, all of them fatal")
    # A module of GPU code for each generation; CudaPackage brings cuda and cuda_arch.
    conflicts("cuda_arch=none", when="+cuda", msg="reel: which GPUs? e.g. cuda_arch=90 or cuda_arch=80,90")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("autoconf@2.71:", type="build")
    depends_on("automake@1.16:", type="build")
    depends_on("libtool", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("mpi")
    depends_on("mpich@4:")  # names of handles as ints, and PMI of Slurm: no other MPI is supported
    depends_on("hdf5@1.10: +mpi")
    depends_on("libyaml")
    depends_on("hwloc@2.1:")
    depends_on("openblas")
    depends_on("jansson@2.10:")
    depends_on("zlib-api")
    depends_on("libpng")
    depends_on("sentencepiece")
    depends_on("ffmpeg +libx264")
    depends_on("nccl", when="+cuda")

    def configure_args(self):
        spec = self.spec
        args = [
            f"MPICC={spec['mpi'].mpicc}",
            f"MPIEXEC={join_path(spec['mpi'].prefix.bin, 'mpiexec')}",
            # Debian calls the parallel library's pkg-config file hdf5-mpich, Spack calls it hdf5
            f"HDF5_CFLAGS={spec['hdf5'].headers.cpp_flags}",
            f"HDF5_LIBS={spec['hdf5'].libs.ld_flags}",
        ]
        args += self.enable_or_disable("devel")
        if spec.satisfies("+cuda"):
            args.append(f"--with-cuda={spec['cuda'].prefix}")
            args.append(f"--with-cuda-arch={' '.join(spec.variants['cuda_arch'].value)}")
        else:
            args.append("--without-cuda")
        return args

    def setup_run_environment(self, env):
        env.set("REEL", join_path(self.prefix.bin, "reel"))

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def it_starts(self):
        Executable(join_path(self.prefix.bin, "reel"))("--version")
