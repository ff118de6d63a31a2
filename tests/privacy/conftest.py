from tests.integration.conftest import client as client
from tests.integration.conftest import event_loop_of_clients as event_loop_of_clients
from tests.integration.conftest import kind as kind
from tests.integration.conftest import own_server as own_server
from tests.integration.conftest import place as place
