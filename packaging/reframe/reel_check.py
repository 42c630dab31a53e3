# A ReFrame test of an installed reel: does it train on one rank, on two, on a GPU, and how fast?
# reframe -C packaging/reframe/settings.py -c packaging/reframe/reel_check.py -r     (REEL names the program, else PATH)
import os

import reframe as rfm
import reframe.utility.sanity as sn


class ReelTrain(rfm.RunOnlyRegressionTest):
    """Six steps of the smallest model on built-in clips: seconds on any machine, every part of the program."""

    valid_systems = ['*']
    valid_prog_environs = ['*']
    tags = {'reel'}
    ranks = variable(int, value=1)
    device = variable(str, value='cpu')
    time_limit = '10m'
    maintainers = ['site']

    @run_before('run')
    def command_line(self):
        tests = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'tests')
        self.num_tasks = self.ranks
        self.executable = os.environ.get('REEL', 'reel')
        self.executable_opts = [
            'train', '--config', os.path.join(tests, 'tiny.yaml'),
            '--models.student.init_from', os.path.join(tests, 'tiny'),
            '--training.distributed.num_gpus', str(self.ranks), '--training.distributed.hsdp_shard_dim', str(self.ranks),
            '--training.data.train_batch_size', str(4 // self.ranks), '--training.device', self.device,
            '--training.compute_dtype', 'f32', '--override-output-dir', 'out',
        ]
        self.postrun_cmds = [f'{self.executable} check out/checkpoint-6', f'{self.executable} report out']

    @sanity_function
    def trained(self):
        return sn.all([
            sn.assert_found(r'done, after step 6', self.stdout),
            sn.assert_found(rf'{self.ranks} ranks? = replicate 1 x shard {self.ranks}', self.stdout),
            sn.assert_not_found(r'warning:', self.stderr),
        ])

    @performance_function('samples/s')
    def throughput(self):
        return sn.extractsingle(r'speed .* ([0-9.]+) samples/s', self.stdout, 1, float)


@rfm.simple_test
class ReelOneRank(ReelTrain):
    ranks = 1


@rfm.simple_test
class ReelTwoRanks(ReelTrain):
    ranks = 2


@rfm.simple_test
class ReelGpu(ReelTrain):
    ranks = 1
    device = 'cuda'
    valid_systems = ['+gpu']
