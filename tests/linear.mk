check_PROGRAMS += tests/t_op_linear tests/t_op_attn tests/t_op_isa tests/t_op_vsa tests/t_op_vsa_isa
tests_t_op_linear_SOURCES = tests/t_op_linear.c tests/op_common.h
tests_t_op_attn_SOURCES = tests/t_op_attn.c tests/op_common.h
tests_t_op_isa_SOURCES = tests/t_op_isa.c
tests_t_op_vsa_SOURCES = tests/t_op_vsa.c tests/op_common.h
tests_t_op_vsa_isa_SOURCES = tests/t_op_vsa_isa.c
