# REEL_TRY_CFLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it.
AC_DEFUN([REEL_TRY_CFLAG], [
  AC_MSG_CHECKING([whether $CC accepts $1])
  reel_save_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM], [AC_MSG_RESULT([yes]); $2="$$2 $1"], [AC_MSG_RESULT([no])])
  CFLAGS=$reel_save_CFLAGS])

# REEL_PROG_CC_FLAGS: the flags of every object (REEL_CFLAGS), of every kernel (KERNEL_CFLAGS) and of
# every link (REEL_LDFLAGS), with --enable-devel and --enable-sanitize[=LIST].
#
# -ffp-contract=off is no taste: with it a*b+c rounds twice on every machine, as the references do.
# -O3's vectoriser is given to kernels by name, because CFLAGS (-O2) comes last on the command line.
AC_DEFUN([REEL_PROG_CC_FLAGS], [
  REEL_CFLAGS="-std=gnu11 -ffp-contract=off -fno-math-errno -Wall -Wextra"
  REEL_LDFLAGS= REEL_CPPFLAGS=
  KERNEL_CFLAGS=
  for flag in -ftree-vectorize -fvect-cost-model=dynamic -fpeel-loops -funswitch-loops -ftree-loop-distribution \
    -fipa-cp-clone; do
    REEL_TRY_CFLAG([$flag], [KERNEL_CFLAGS])
  done

  AC_ARG_ENABLE([devel],
    [AS_HELP_STRING([--enable-devel], [more warnings, all of them fatal @<:@no@:>@])], [], [enable_devel=no])
  AS_IF([test "x$enable_devel" != xno],
    [REEL_CFLAGS="$REEL_CFLAGS -Wshadow -Wmissing-prototypes -Wdouble-promotion -Wvla -Werror"])

  AC_ARG_ENABLE([sanitize],
    [AS_HELP_STRING([--enable-sanitize@<:@=LIST@:>@],
      [gcc sanitizers, and memory poisoned when an arena is reset @<:@no; address,undefined@:>@])],
    [], [enable_sanitize=no])
  AS_CASE([$enable_sanitize], [yes], [enable_sanitize=address,undefined])
  AS_IF([test "x$enable_sanitize" != xno], [
    REEL_CFLAGS="$REEL_CFLAGS -fsanitize=$enable_sanitize -fno-sanitize-recover=all -fno-omit-frame-pointer"
    REEL_LDFLAGS="$REEL_LDFLAGS -fsanitize=$enable_sanitize"
    REEL_CPPFLAGS="$REEL_CPPFLAGS -DREEL_POISON=1"
    reel_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -fsanitize=$enable_sanitize"
    AC_LINK_IFELSE([AC_LANG_PROGRAM], [],
      [AC_MSG_ERROR([the compiler cannot link with -fsanitize=$enable_sanitize: try address,undefined])])
    CFLAGS=$reel_save_CFLAGS])

  AC_SUBST([REEL_CFLAGS])
  AC_SUBST([REEL_CPPFLAGS])
  AC_SUBST([REEL_LDFLAGS])
  AC_SUBST([KERNEL_CFLAGS])])

# REEL_CUDA: --with-cuda[=DIR], --with-cuda-arch="80 90": HAVE_CUDA when nvcc makes device code and
# cudart, cuBLASLt and NCCL link. The program links none of them, it must start without a driver: the
# module reel_cuda.so does. With --enable-devel nvcc's warnings are fatal, and ccache is used if it is there.
AC_DEFUN([REEL_CUDA], [
  AC_ARG_WITH([cuda],
    [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [CUDA kernels @<:@check, in $CUDA_HOME or /usr/local/cuda@:>@])],
    [], [with_cuda=check])
  AC_ARG_WITH([cuda-arch],
    [AS_HELP_STRING([--with-cuda-arch=LIST], [GPU generations to compile for @<:@"80 90"@:>@])],
    [], [with_cuda_arch="80 90"])
  AC_ARG_VAR([NVCC], [CUDA compiler])
  AC_ARG_VAR([NVCCFLAGS], [CUDA compiler flags])
  AC_ARG_VAR([CXXFLAGS_SIM], [C++ flags of kernels that run on the host, in tests])
  : ${CXXFLAGS_SIM="-O2"}
  have_cuda=no CUDA_CPPFLAGS= CUDA_LDFLAGS= CUDA_LIBS= NVCC_GENCODE= NVCC_WARN= NVCC_LAUNCHER=
  MPI_CPPFLAGS=`$CC -show 2>/dev/null | tr ' ' '\n' | grep '^-I' | tr '\n' ' '`
  MPI_LIBS=`$CC -show 2>/dev/null | tr ' ' '\n' | grep '^-[[Ll]]' | tr '\n' ' '`
  AC_SUBST([MPI_CPPFLAGS])
  AC_SUBST([MPI_LIBS])
  AS_IF([test "x$enable_devel" != xno], [
    NVCC_WARN="-Werror all-warnings -Xcompiler -Werror"
    AC_CHECK_PROG([NVCC_LAUNCHER], [ccache], [ccache])])
  AS_IF([test "x$with_cuda" != xno], [
    AS_CASE([$with_cuda], [yes|check], [cuda_dir=${CUDA_HOME:-/usr/local/cuda}], [cuda_dir=$with_cuda])
    AC_PATH_PROG([NVCC], [nvcc], [no], [$cuda_dir/bin$PATH_SEPARATOR$PATH])
    AS_IF([test "x$NVCC" != xno], [REEL_CUDA_TRY])
    AS_IF([test $have_cuda = no && test "x$with_cuda" != xcheck],
      [AC_MSG_ERROR([CUDA asked for but not usable in $cuda_dir: nvcc, cudart, cuBLASLt and NCCL are needed])])])
  AS_IF([test $have_cuda = yes], [AC_DEFINE([HAVE_CUDA], [1], [CUDA kernels can be built])])
  AC_SUBST([NVCC_GENCODE])
  AC_SUBST([NVCC_WARN])
  AC_SUBST([NVCC_LAUNCHER])
  AC_SUBST([CUDA_CPPFLAGS])
  AC_SUBST([CUDA_INCLUDE])
  AC_SUBST([CUDA_LDFLAGS])
  AC_SUBST([CUDA_LIBS])
  AM_CONDITIONAL([HAVE_CUDA], [test $have_cuda = yes])])

# REEL_CUDA_TRY: with $NVCC and $cuda_dir set, find out whether all of CUDA is usable.
AC_DEFUN([REEL_CUDA_TRY], [
  cuda_libdir=$cuda_dir/lib64
  test -d "$cuda_libdir" || cuda_libdir=$cuda_dir/lib
  : ${NVCCFLAGS="-O3 -std=c++17"}
  last=
  for arch in $with_cuda_arch; do
    NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$arch,code=sm_$arch"
    last=$arch
  done
  NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$last,code=compute_$last"
  CUDA_CPPFLAGS="-I$cuda_dir/include"
  CUDA_INCLUDE=$cuda_dir/include
  CUDA_LDFLAGS="-L$cuda_libdir -Wl,-rpath,$cuda_libdir"
  CUDA_LIBS="-lnccl -lcublasLt -lcudart"

  reel_save_CPPFLAGS=$CPPFLAGS reel_save_LIBS=$LIBS reel_save_LDFLAGS=$LDFLAGS
  CPPFLAGS="$CPPFLAGS $CUDA_CPPFLAGS" LDFLAGS="$LDFLAGS $CUDA_LDFLAGS"
  have_cuda=yes
  AC_CHECK_HEADERS([cuda_runtime_api.h cublasLt.h nccl.h], [], [have_cuda=no])
  AC_CHECK_LIB([cudart], [cudaGetDeviceCount], [:], [have_cuda=no])
  AC_CHECK_LIB([cublasLt], [cublasLtCreate], [:], [have_cuda=no])
  AC_CHECK_LIB([nccl], [ncclCommInitRank], [:], [have_cuda=no])
  CPPFLAGS=$reel_save_CPPFLAGS LIBS=$reel_save_LIBS LDFLAGS=$reel_save_LDFLAGS

  AC_MSG_CHECKING([whether $NVCC makes code for sm $with_cuda_arch])
  printf '__global__ void k(float *x) { x@<:@threadIdx.x@:>@ *= 2; }\n' > conftest.cu
  AS_IF([$NVCC $NVCCFLAGS $NVCC_GENCODE -c -o conftest.cuo conftest.cu >&AS_MESSAGE_LOG_FD 2>&1],
    [AC_MSG_RESULT([yes])], [AC_MSG_RESULT([no]); have_cuda=no])
  rm -f conftest.cu conftest.cuo])

# REEL_SIMT: SIMT_CXXFLAGS, which compile CUDA kernels for the host (tests/cuda).
# -fno-strict-aliasing: kernels read memory through pointers to vectors, which nvcc allows.
AC_DEFUN([REEL_SIMT], [
  SIMT_CXXFLAGS="-std=gnu++17 -g -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-strict-aliasing"
  SIMT_CXXFLAGS="$SIMT_CXXFLAGS -Wall -Wextra -Wno-unused-parameter -Wno-unknown-pragmas -Wno-psabi"
  AS_IF([test "x$enable_devel" != xno], [SIMT_CXXFLAGS="$SIMT_CXXFLAGS -Werror"])
  AC_MSG_CHECKING([whether this machine runs AVX2 and FMA])
  AC_RUN_IFELSE([AC_LANG_SOURCE([[
#if defined(__x86_64__)
int main(void) { return !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")); }
#else
int main(void) { return 1; }
#endif
]])], [AC_MSG_RESULT([yes]); SIMT_CXXFLAGS="$SIMT_CXXFLAGS -march=x86-64-v3"], [AC_MSG_RESULT([no])], [AC_MSG_RESULT([unknown])])
  AC_SUBST([SIMT_CXXFLAGS])])
