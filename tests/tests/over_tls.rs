//! Every scenario in a cluster of this process, reached over TLS with a kubeconfig.

use coracle_tests::World;

coracle_tests::all_scenarios!(World::over_tls());
