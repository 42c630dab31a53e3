# One machine and mpiexec; a site has its own settings. Partitions with GPUs say features: ['gpu'].
site_configuration = {
    'systems': [{
        'name': 'here',
        'descr': 'this machine',
        'hostnames': ['.*'],
        'partitions': [{'name': 'local', 'scheduler': 'local', 'launcher': 'mpiexec', 'environs': ['built-in'], 'max_jobs': 1}],
    }],
    'environments': [{'name': 'built-in', 'cc': 'cc', 'cxx': '', 'ftn': ''}],
}
