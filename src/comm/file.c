/* MPI-IO as HDF5 sees it. HDF5 forgets why a write failed, and where it cannot close a file it keeps the name of what it freed and reads
 * that when MPI ends (seen in 1.10.8: a segmentation fault). So its calls come here, by MPI's profiling interface: they succeed for it, and who
 * made the file asks reel_comm_file_errno. */
#include <errno.h>
#include <string.h>

#include "comm/comm_priv.h"

static _Thread_local int first_;

/* MPICH has classes for these and does not use them; its text ends with the system's. */
static void note(int code)
{
    static const int known[] = { ENOSPC, EDQUOT, EROFS, EACCES, EPERM, ENOENT, EFBIG, ESTALE };
    char text[MPI_MAX_ERROR_STRING] = "";
    int n;

    if (code == MPI_SUCCESS || first_) return;
    PMPI_Error_string(code, text, &n);
    first_ = EIO;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(text, strerror(known[i]))) first_ = known[i];
}

int reel_comm_file_errno(void)
{
    int e = first_;

    first_ = 0;
    return e;
}

static int heeded(int code)
{
    note(code);
    return MPI_SUCCESS;
}

/* All of it, says the status. */
static int written(int code, int n, MPI_Datatype type, MPI_Status *status)
{
    MPI_Count size;

    if (code != MPI_SUCCESS && status != MPI_STATUS_IGNORE) {
        PMPI_Type_size_x(type, &size);
        PMPI_Status_set_elements_x(status, MPI_BYTE, size * n);
    }
    return heeded(code);
}

int MPI_File_open(MPI_Comm comm, const char *name, int mode, MPI_Info info, MPI_File *f)
{
    int code = PMPI_File_open(comm, name, mode, info, f);

    note(code);
    return code;
}

int MPI_File_write_at(MPI_File f, MPI_Offset at, const void *p, int n, MPI_Datatype type, MPI_Status *status)
{
    return written(PMPI_File_write_at(f, at, p, n, type, status), n, type, status);
}

int MPI_File_write_at_all(MPI_File f, MPI_Offset at, const void *p, int n, MPI_Datatype type, MPI_Status *status)
{
    return written(PMPI_File_write_at_all(f, at, p, n, type, status), n, type, status);
}

int MPI_File_set_size(MPI_File f, MPI_Offset size) { return heeded(PMPI_File_set_size(f, size)); }
int MPI_File_sync(MPI_File f) { return heeded(PMPI_File_sync(f)); }
int MPI_File_close(MPI_File *f) { return heeded(PMPI_File_close(f)); }
