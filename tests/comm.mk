check_PROGRAMS += tests/t_mesh tests/t_comm tests/t_comm_np2 tests/t_comm_np3 tests/t_comm_np8 tests/t_fault_comm_np4
tests_t_mesh_SOURCES = tests/t_mesh.c
tests_t_comm_SOURCES = tests/t_comm.c
tests_t_comm_np2_SOURCES = tests/t_comm.c
tests_t_comm_np3_SOURCES = tests/t_comm.c
tests_t_comm_np8_SOURCES = tests/t_comm.c
tests_t_fault_comm_np4_SOURCES = tests/t_fault_comm_np4.c
dist_check_SCRIPTS += tests/t_fault_comm.sh
